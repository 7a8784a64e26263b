"""CA-MTL: one transformer for many tasks, conditioned on the task of each row.

Pure PyTorch and transformers; `pipeline` trains and serves it, and it is usable alone.
"""

from transformers import AutoConfig, AutoModel

from camtl.backbones import resolve_backbone
from camtl.config import CaMtlConfig
from camtl.heads import HeadSpec
from camtl.model import CaMtlModel, CaMtlOutput
from camtl.packing import PackedBatch, TokenRows

AutoConfig.register(CaMtlConfig.model_type, CaMtlConfig)
AutoModel.register(CaMtlConfig, CaMtlModel)

__all__ = [
    "CaMtlConfig",
    "CaMtlModel",
    "CaMtlOutput",
    "HeadSpec",
    "PackedBatch",
    "TokenRows",
    "resolve_backbone",
]
