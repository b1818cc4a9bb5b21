"""Classifiers: a backbone, pooled features, and a head of named layers."""

from tumorscope.models.classifiers.network import Classifier

__all__ = ["Classifier"]
