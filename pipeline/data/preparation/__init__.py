"""Encodes, shuffles and writes splits as Parquet with a manifest; unchanged prepared data is re-used.

Used by `pipeline.experiments`, which prepares, and by `pipeline.sampling`, which reads prepared rows.
"""
