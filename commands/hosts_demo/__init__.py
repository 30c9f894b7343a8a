"""`main.py hosts-demo`: a study on separate hosts, all of them this machine."""
