"""The data of a study: a folder of images or a table, split once, and its fingerprint."""
