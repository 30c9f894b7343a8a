"""Sharing images with another hospital: cloaked so that a classifier reads the wrong label, and restored by a reader.

Cloaking is no encryption: whoever looks at a picture sees the same X-ray. What is encrypted is the reader file, and the
originals where they come along.
"""
