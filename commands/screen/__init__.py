"""`screen`: which of a hospital's own images look as if somebody planted them."""
