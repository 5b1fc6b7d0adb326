"""As much of torch as answers look at, on NumPy, for machines without it. Like torch's its tensors are not NumPy's."""

import types

import numpy

torch = types.ModuleType("torch")


class _Named:
    def __init__(self, name):
        self.name = name

    def __str__(self):
        return self.name


class dtype(_Named):
    pass


class device(_Named):
    pass


class Tensor:
    is_quantized = False

    def __init__(self, values, dtype=None, ready=False):
        self.values = numpy.array(values)
        self.dtype = dtype
        #: 0: as it is used in a model; then detached, strided, on the CPU, of a type that can be read.
        self.ready = ready
        self.layout = torch.strided

    def _next(self, step):
        assert self.ready in (step - 1, step), "not in this order"
        return Tensor(self.values, self.dtype, step)

    def detach(self):
        return self._next(1)

    def cpu(self):
        return self._next(2)

    def to(self, dtype):
        assert dtype is torch.float64
        return Tensor(self.values, dtype, self.ready)

    def is_floating_point(self):
        return self.values.dtype.kind == "f"

    def tolist(self):
        assert self.ready == 2
        assert self.dtype is not torch.bfloat16, "which real ones can, but not everything else"
        return self.values.tolist()


def isfinite(tensor):
    return numpy.isfinite(tensor.values)


class Module:
    def __call__(self, *args, **kwargs):
        raise AssertionError("a model is not to be called for its answer")


class Linear(Module):
    def __init__(self, *sizes):
        pass


for kind in (dtype, device, Tensor, Module, Linear):
    kind.__module__ = "torch.nn" if issubclass(kind, Module) else "torch"
torch.Tensor, torch.device, torch.dtype = Tensor, device, dtype
torch.tensor, torch.isfinite = Tensor, isfinite
torch.strided = object()
torch.nn = types.SimpleNamespace(Linear=Linear, Module=Module, Parameter=lambda tensor: tensor)
torch.float64, torch.float32, torch.bfloat16 = (dtype(f"torch.{name}") for name in ("float64", "float32", "bfloat16"))
