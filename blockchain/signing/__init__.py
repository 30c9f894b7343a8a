"""What the parties sign, and how a signature is checked."""
