"""`main.py start-study`, `status` and `stop`: a study on separate hosts, led by its administrator."""
