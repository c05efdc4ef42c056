"""The invoice on paper: what stands on it in words, and the PDF."""
