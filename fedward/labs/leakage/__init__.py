"""What an update gives away: gradient inversion against what a hospital sends, and membership of the final model."""
