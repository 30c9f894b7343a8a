"""What is said of cloaked images wherever they go, so that nobody takes them for encrypted ones."""

NOT_ENCRYPTION = (
    "This is label cloaking, not cryptography: whoever looks at a cloaked image sees the X-ray, and whoever knows that "
    "it is cloaked, or learns from a few known pairs, can tell the label."
)
FILE = "README.txt"


def notice(lossless: bool) -> bytes:
    """The text that lies beside cloaked images."""
    lines = [
        "X-rays cloaked by Fedward: changed so that classifiers read another label. Not for diagnosis.",
        NOT_ENCRYPTION,
        "Whoever the reader file is sealed to restores images and labels:",
        "    main.py restore THIS_FOLDER --reader reader.sealed --hospital OWN_KIT",
    ]
    if lossless:
        lines.append("The files that end in .sealed are the originals, encrypted; the same command opens them.")
    return ("\n".join(lines) + "\n").encode()
