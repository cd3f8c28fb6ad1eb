"""How the recording stays out of the script's sight, and how all that was patched is put back."""
