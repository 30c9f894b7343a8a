"""Why a file gives no image. Reasons are short and quote nothing from inside a file."""


class UnreadableImageError(Exception):
    """A file gives no image; the message is the reason."""


class NotAnImageError(UnreadableImageError):
    """A file is sound, and no picture: a report, a presentation state, an index. It counts as no damage."""
