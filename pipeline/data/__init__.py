"""Source rows to prepared Parquet: `sources/` reads, `formats/` encodes, `preparation/` shuffles and writes.

Task files (YAML) and their checks are here too. Ray Data runs the preparation; reading processes import no torch.
"""
