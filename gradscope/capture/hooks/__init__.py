"""What torch and the script call while a recording runs."""
