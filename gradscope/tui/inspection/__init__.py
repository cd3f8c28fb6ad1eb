"""What the inspector says: a title, a verdict, and sections of facts about one subject at one moment."""
