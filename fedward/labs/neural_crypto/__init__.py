"""The lab of neural cryptography: learned ciphers, what breaks them, and AES-256-GCM measured by the same functions."""
