"""What units of wallets pay of bills, before usage is priced."""
