"""Encodes, shuffles and writes splits as Parquet with a manifest; re-used while nothing that shapes them changes."""
