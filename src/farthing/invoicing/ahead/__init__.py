"""Looking ahead: what is coming, what usage would cost, what another plan version would change."""
