"""Source rows to prepared Parquet: `sources/` read, `formats/` encode, `preparation/` shuffles and writes.

Task files (YAML) and their checks are here too. Ray Data runs the work; reading processes import no torch.
"""
