"""The changes that a check can ask for: each makes of a `Spot` a `Rewrite`, or None where it cannot be said there."""
