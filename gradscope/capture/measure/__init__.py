"""What one tensor says of itself, and its numbers."""
