"""`main.py enroll-witness` and `join-witness`: a witness on a host of its own."""
