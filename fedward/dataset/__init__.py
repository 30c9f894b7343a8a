"""Depth of stage 1, preprocess: layouts, decoding, anonymization, splits, partitions.

`data_preprocessing.py` at the root tells the story; each module here is one step of it.
"""
