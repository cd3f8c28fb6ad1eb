"""The script as `python` runs it, and its recording, which begins when it imports torch."""
