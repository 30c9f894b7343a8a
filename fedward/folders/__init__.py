"""The folders of server, hospitals, witness and simulation: what each party keeps on its disk, and where."""
