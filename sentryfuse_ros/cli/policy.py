"""`sentryfuse policy`: the access policy of SROS 2 for fuse_node with a parameter file."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..access_policy import absolute_namespace, access_of, to_xml
from ..files import check_writable, write_atomically
from ..paths import share_path
from ..settings import build_settings, read_yaml
from .arguments import add_params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_params(parser)
    parser.add_argument("--node", default="fuse_node", help="name of the node (default: %(default)s)")
    parser.add_argument("--namespace", default="/", help="namespace of the node (default: %(default)s)")
    parser.add_argument("--enclave", metavar="PATH", help="path of the enclave (default: namespace and name of the node)")
    parser.add_argument(
        "--sim-time", action="store_true", help="the node runs with use_sim_time, as it does where the parameter file says so"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it to this file instead of the console")


def run(args: argparse.Namespace) -> int:
    """Print or write the policy. Raises SentryFuseError for parameters and names that are wrong."""
    name = f"{absolute_namespace(args.namespace).rstrip('/')}/{args.node}"
    flat = read_yaml(args.params_file or share_path("config", "fuse.yaml"), name)
    sim_time = args.sim_time or flat.get("use_sim_time") is True
    access = access_of(build_settings(flat), args.node, args.namespace, sim_time)
    text = to_xml(access, name if args.enclave is None else args.enclave)
    if args.out:
        check_writable(args.out)
        write_atomically(args.out, text)
    else:
        print(text, end="")
    return 0
