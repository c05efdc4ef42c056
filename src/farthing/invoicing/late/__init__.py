"""Usage that came, or was corrected, after the invoice of its period."""
