"""The conditional parts of CA-MTL, one per file. `camtl.encoder` puts them into a pretrained encoder."""
