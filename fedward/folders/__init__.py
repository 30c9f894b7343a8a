"""What each party keeps on its disk."""
