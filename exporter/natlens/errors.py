"""What can go wrong, as one tree.

::

    NatlensError                 one clear line for the user; exit status 1
    ├── ConfigError              an option, a file or a variable is wrong; exit status 2
    ├── IdentityError            a manifest cannot be read as Kubernetes objects
    ├── KernelError              the kernel refused something natlens cannot do without
    │   ├── MissingCapability    CAP_BPF, CAP_PERFMON or CAP_NET_ADMIN is not there
    │   └── MissingFeature       the kernel lacks a feature natlens cannot do without
    └── DeliveryError            an endpoint cannot be used at all (a failed export is not an error:
                                 it is retried and counted)

Every message names the key or object, the value, and the way out.
"""

__all__ = [
    "ConfigError",
    "DeliveryError",
    "IdentityError",
    "KernelError",
    "MissingCapability",
    "MissingFeature",
    "NatlensError",
]


class NatlensError(Exception):
    """Base of every error that is shown to the user as one line."""

    exit_status = 1


class ConfigError(NatlensError):
    """An option, configuration file or environment variable is wrong."""

    exit_status = 2


class IdentityError(NatlensError):
    """A manifest cannot be read as Kubernetes objects."""


class KernelError(NatlensError):
    """The kernel refused something natlens cannot do without."""


class MissingCapability(KernelError):
    """CAP_BPF, CAP_PERFMON or CAP_NET_ADMIN is missing."""


class MissingFeature(KernelError):
    """The kernel lacks a feature natlens cannot do without."""


class DeliveryError(NatlensError):
    """An endpoint cannot be used at all."""
