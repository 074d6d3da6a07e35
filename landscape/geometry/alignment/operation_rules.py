"""Rules by which the axes of tensors pass through ATen operations, and what each operation requires of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from landscape.geometry.alignment.axes import Atom, Axis, atoms_of, cut, fix, flatten, new_axis, unflatten, unify
from landscape.geometry.alignment.operations import Operation, TensorAxes

_Rule = Callable[[Operation], Any]


def derive(op: Operation) -> Any:
    """Return the axes of the result of an operation, or a list of them for several results.

    Raises:
        AlignmentError: the operation has no rule and is applied to hidden units.
    """
    rule = RULES.get(op.name)
    if rule is not None:
        return rule(op)
    if torch.Tag.pointwise in op.target.tags:
        return op.pointwise()
    return op.unknown()


def _reduction(op: Operation) -> Any:
    axes: TensorAxes = op.axes["self"]
    rank = len(axes)
    gone = op.dims("dim", rank)
    kept = bool(op.values.get("keepdim", False))
    found = tuple(None if d in gone else axis for d, axis in enumerate(axes) if kept or d not in gone)
    return found if isinstance(op.value, Tensor) else [found] * len(op.value)


def _same(op: Operation) -> Any:
    axes: TensorAxes = op.axes["self"]
    return axes if isinstance(op.value, Tensor) else [axes] * len(op.value)


def _batch_norm(op: Operation) -> Any:
    axes: list[Axis] = list(op.axes["input"])
    for name in ("weight", "bias", "running_mean", "running_var"):
        if op.axes.get(name) is not None:
            axes[1] = unify(axes[1], op.axes[name][0])
    rest = [(axes[1],)] * 4
    return tuple(axes) if isinstance(op.value, Tensor) else [tuple(axes), *rest][: len(op.value)]


def _layer_norm(op: Operation) -> Any:
    axes: list[Axis] = list(op.axes["input"])
    count = len(op.values["normalized_shape"])
    for name in ("weight", "bias"):
        if op.axes.get(name) is not None:
            for back in range(1, count + 1):
                axes[-back] = unify(axes[-back], op.axes[name][-back])
    statistics = (*axes[:-count], *(None,) * count)
    return tuple(axes) if isinstance(op.value, Tensor) else [tuple(axes), statistics, statistics][: len(op.value)]


def _group_norm(op: Operation) -> Any:
    axes: list[Axis] = list(op.axes["input"])
    groups = int(op.values["group"] if "group" in op.values else op.values["num_groups"])
    sizes = [groups, op.values["input"].shape[1] // groups]
    axes[1] = flatten(unflatten(axes[1], sizes), sizes)
    for name in ("weight", "bias"):
        if op.axes.get(name) is not None:
            axes[1] = unify(axes[1], op.axes[name][0])
    return tuple(axes) if isinstance(op.value, Tensor) else [tuple(axes), (axes[0], None), (axes[0], None)]


def _convolution(op: Operation) -> Any:
    inputs: TensorAxes = op.axes["input"]
    weight: list[Axis] = list(op.axes["weight"])
    groups, transposed = op.values["groups"], op.values["transposed"]
    shape = op.values["weight"].shape
    op.contracted = (0,)
    if groups == 1:
        given, made = (0, 1) if transposed else (1, 0)
        unify(inputs[1], weight[given])
        outputs = weight[made]
    else:
        channels = op.values["input"].shape[1]
        group, inner = unflatten(inputs[1], [groups, channels // groups])
        if transposed:
            fix(inputs[1])
            for axis in weight:
                fix(axis)
            return op.fixed()
        for atom in atoms_of(inner):
            atom.outer = None  # one permutation of the channels of every group, as the weights have one axis for them
        unify(inner, weight[1])
        outer, made_inner = unflatten(weight[0], [groups, shape[0] // groups])
        unify(group, outer)
        outputs = flatten([outer, made_inner], [groups, shape[0] // groups])
    if op.axes.get("bias") is not None:
        outputs = unify(outputs, op.axes["bias"][0])
    spatial = op.value.dim() - 2
    for axis in (*inputs[2:], *weight[2:]):
        fix(axis)
    return (inputs[0], outputs, *(new_axis(size, fixed=True) for size in op.value.shape[-spatial:]))


def _product(left: str, right: str, bias: str = "") -> _Rule:
    """Return the rule of a matrix product of two arguments, with the last axes of ``bias`` added."""

    def rule(op: Operation) -> TensorAxes:
        a, b = op.axes[left], op.axes[right]
        names = [argument.name for argument in op.target._schema.arguments]
        op.contracted = (names.index(left), names.index(right))
        batch = [unify(x, y) for x, y in zip(a[:-2], b[:-2], strict=True)]
        unify(a[-1], b[-2])
        found = [*batch, a[-2], b[-1]]
        if bias and op.axes.get(bias) is not None:
            added = op.axes[bias]
            for back in range(1, len(added) + 1):
                if op.values[bias].shape[-back] > 1:
                    found[-back] = unify(found[-back], added[-back])
        return tuple(found)

    return rule


def _linear(op: Operation) -> TensorAxes:
    inputs, weight = op.axes["input"], op.axes["weight"]
    op.contracted = (0,)
    unify(inputs[-1], weight[1])
    outputs = weight[0]
    if op.axes.get("bias") is not None:
        outputs = unify(outputs, op.axes["bias"][0])
    return (*inputs[:-1], outputs)


def _attention(op: Operation) -> Any:
    query, key, value = (op.axes[name] for name in ("query", "key", "value"))
    op.contracted = (0, 1, 2)
    batch = [unify(unify(q, k), v) for q, k, v in zip(query[:-2], key[:-2], value[:-2], strict=True)]
    unify(query[-1], key[-1])
    unify(key[-2], value[-2])
    found = (*batch, query[-2], value[-1])
    if isinstance(op.value, Tensor):
        return found
    return [found, *op.fixed()[1:]]


def _view(op: Operation) -> TensorAxes:
    tensor, axes = op.values["self"], op.axes["self"]
    before, after = list(tensor.shape), list(op.value.shape)
    found: list[Axis] = []
    i = j = 0
    while i < len(before) or j < len(after):
        start, begin = i, j
        left, right = 1, 1
        while True:
            if left == right and left > 1:
                break
            if left <= right and i < len(before):
                left *= before[i]
                i += 1
            elif j < len(after):
                right *= after[j]
                j += 1
            else:
                break
        found += unflatten(flatten(axes[start:i], before[start:i]), after[begin:j])
    return tuple(found)


def _permute(op: Operation) -> TensorAxes:
    axes = op.axes["self"]
    return tuple(axes[d] for d in op.dims("dims", len(axes)))


def _transpose(op: Operation) -> TensorAxes:
    axes = list(op.axes["self"])
    first, second = (0, 1) if op.name == "t" else (op.values["dim0"], op.values["dim1"])
    if len(axes) > 1:
        axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)


def _expand(op: Operation) -> TensorAxes:
    axes, shape = op.axes["self"], op.values["self"].shape
    found = [axis if size > 1 else None for axis, size in zip(axes, shape, strict=True)]
    return (*(None,) * (op.value.dim() - len(found)), *found)


def _repeat(op: Operation) -> TensorAxes:
    axes, shape, repeats = op.axes["self"], list(op.values["self"].shape), op.values["repeats"]
    missing = len(repeats) - len(shape)
    axes, shape = [*[None] * missing, *axes], [*[1] * missing, *shape]
    return tuple(flatten([None, axis], [times, size]) for axis, size, times in zip(axes, shape, repeats, strict=True))


def _slice(op: Operation) -> TensorAxes:
    axes: list[Axis] = list(op.axes["self"])
    dim = op.values["dim"] % len(axes)
    size, step = op.values["self"].shape[dim], op.values["step"]
    start, stop, _ = slice(op.values["start"], op.values["end"]).indices(size)
    if step != 1:
        fix(axes[dim])
        axes[dim] = new_axis(op.value.shape[dim], fixed=True)
    elif (start, stop) != (0, size):
        axes[dim] = cut(axes[dim], start, stop)
    return tuple(axes)


def _split(op: Operation) -> Any:
    axes, dim = op.axes["self"], op.values["dim"] % len(op.axes["self"])
    found, start = [], 0
    for piece in op.value:
        stop = start + piece.shape[dim]
        found.append((*axes[:dim], cut(axes[dim], start, stop), *axes[dim + 1 :]))
        start = stop
    return found


def _select_unit(axes: TensorAxes, dim: int, unit: int) -> TensorAxes:
    rest = [*axes[:dim], *axes[dim + 1 :]]
    axis = axes[dim]
    terms = axis or ()
    if len(terms) == 1 and len(terms[0]) == 1 and terms[0][0].root._inner:
        made = terms[0][0].root.select(unit)
        return tuple(None if a is None else tuple(tuple(made.get(x.root, x) for x in t) for t in a) for a in rest)
    fix(axis)
    return tuple(rest)


def _select(op: Operation) -> TensorAxes:
    axes = op.axes["self"]
    dim = op.values["dim"] % len(axes)
    return _select_unit(axes, dim, op.values["index"] % op.values["self"].shape[dim])


def _unbind(op: Operation) -> Any:
    axes = op.axes["self"]
    dim = op.values["dim"] % len(axes)
    return [_select_unit(axes, dim, unit) for unit in range(len(op.value))]


def _concatenate(op: Operation) -> TensorAxes:
    found: list[Axis] = [None] * op.value.dim()
    dim = op.values["dim"] % op.value.dim()
    joined: list[tuple[Atom, ...]] = []
    for tensor, axes in zip(op.values["tensors"], op.axes["tensors"], strict=True):
        for d, axis in enumerate(axes):
            if d != dim and tensor.shape[d] > 1:
                found[d] = unify(found[d], axis)
        joined += axes[dim] or ((Atom(tensor.shape[dim], fixed=tensor.shape[dim] == 1),),)
    found[dim] = tuple(joined)
    return tuple(found)


def _pad(op: Operation) -> TensorAxes:
    axes: list[Axis] = list(op.axes["self"])
    pad = op.values["pad"]
    for back in range(1, len(pad) // 2 + 1):
        before, after = pad[2 * back - 2 : 2 * back]
        if before < 0 or after < 0:
            fix(axes[-back])
            axes[-back] = new_axis(op.value.shape[-back], fixed=True)
        elif before or after:
            # Equal entries are permuted into themselves, so their atoms are new ones that nothing constrains.
            ends = [((Atom(size),),) if size else () for size in (before, after)]
            middle = axes[-back] or ((Atom(1, fixed=True),),)
            axes[-back] = (*ends[0], *middle, *ends[1])
    return tuple(axes)


def _spatial(op: Operation) -> Any:
    axes: TensorAxes = op.axes.get("self") or op.axes["input"]
    result = op.value if isinstance(op.value, Tensor) else op.value[0]
    kept = result.dim() - {"1d": 1, "2d": 2, "3d": 3}.get(next((k for k in ("1d", "2d", "3d") if k in op.name), ""), 2)
    for axis in axes[kept:]:
        fix(axis)
    found = (*axes[:kept], *(new_axis(size, fixed=True) for size in result.shape[kept:]))
    return found if isinstance(op.value, Tensor) else [found] * len(op.value)


def _embedding(op: Operation) -> TensorAxes:
    weight = op.axes["weight"]
    fix(weight[0])
    return (*op.axes["indices"], weight[1])


def _free(op: Operation) -> TensorAxes:
    return op.free()


def _pointwise(op: Operation) -> Any:
    return op.pointwise()


RULES: Mapping[str, _Rule] = {
    # Operations on each entry that torch doesn't mark as such.
    **dict.fromkeys(("hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu", "mish", "softplus", "threshold",
                     "clamp", "masked_fill", "where", "_prelu_kernel", "copy", "fill"), _pointwise),
    **dict.fromkeys(("sum", "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "prod", "logsumexp",
                     "norm", "linalg_vector_norm", "any", "all"), _reduction),
    **dict.fromkeys(("_softmax", "_log_softmax", "softmax", "log_softmax", "clone", "detach", "alias", "contiguous",
                     "_to_copy", "to", "lift_fresh_copy", "lift_fresh", "dropout", "native_dropout", "_safe_softmax",
                     "positive"), _same),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
                     "cudnn_batch_norm", "batch_norm", "_batch_norm_with_update", "_batch_norm_no_update"),
                    _batch_norm),
    **dict.fromkeys(("native_layer_norm", "layer_norm", "rms_norm", "_fused_rms_norm"), _layer_norm),
    **dict.fromkeys(("native_group_norm", "group_norm"), _group_norm),
    "convolution": _convolution,
    "mm": _product("self", "mat2"),
    "bmm": _product("self", "mat2"),
    "addmm": _product("mat1", "mat2", "self"),
    "baddbmm": _product("batch1", "batch2", "self"),
    "linear": _linear,
    **dict.fromkeys(("scaled_dot_product_attention", "_scaled_dot_product_flash_attention_for_cpu",
                     "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
                     "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_attention_math"), _attention),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze",
                     "_reshape_alias"), _view),
    "permute": _permute,
    "transpose": _transpose,
    "t": _transpose,
    "expand": _expand,
    "repeat": _repeat,
    "slice": _slice,
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _split),
    "select": _select,
    "unbind": _unbind,
    "cat": _concatenate,
    "constant_pad_nd": _pad,
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool2d", "max_pool2d_with_indices",
                     "max_pool3d_with_indices", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d",
                     "adaptive_avg_pool2d", "adaptive_max_pool2d", "upsample_nearest2d", "upsample_bilinear2d"),
                    _spatial),
    "embedding": _embedding,
    **dict.fromkeys(("full", "full_like", "zeros", "zeros_like", "ones", "ones_like", "new_zeros", "new_ones",
                     "new_full", "scalar_tensor", "empty", "empty_like"), _free),
}  # fmt: skip
"""Rule of each operation by its name; others that work on each entry by itself need none."""
