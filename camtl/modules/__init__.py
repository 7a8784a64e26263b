"""The conditional parts of CA-MTL, one idea a file."""

from camtl.modules.bottleneck import ConditionalBottleneck
from camtl.modules.conditional_alignment import ConditionalAlignment
from camtl.modules.conditional_attention import ConditionalAttentionBias
from camtl.modules.conditional_layer_norm import ConditionalLayerNorm, make_conditional
from camtl.modules.film import FiLM
from camtl.modules.task_context import TaskContext, TaskContextHolder

__all__ = [
    "ConditionalAlignment",
    "ConditionalAttentionBias",
    "ConditionalBottleneck",
    "ConditionalLayerNorm",
    "FiLM",
    "TaskContext",
    "TaskContextHolder",
    "make_conditional",
]
