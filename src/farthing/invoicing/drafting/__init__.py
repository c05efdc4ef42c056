"""What the lines of a bill are, before anything is made of them: usage, fees, and how exact amounts become money."""
