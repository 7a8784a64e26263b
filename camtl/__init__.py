"""CA-MTL: one transformer, conditioned on the task, for many tasks. Pure PyTorch and transformers."""

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
