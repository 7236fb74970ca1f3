"""The executions whose losses are compared with the CPU's in float32."""

#: {name: fields of Execution}
VARIANTS: dict[str, dict] = {
    "float32": {"precision": "float32", "tf32": False},
    "float32, TF32": {"precision": "float32", "tf32": True},
    "float32, XLA": {"precision": "float32", "tf32": False, "jit_compile": True},
    "float32, TF32, XLA": {"precision": "float32", "tf32": True, "jit_compile": True},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, XLA": {"precision": "bfloat16", "jit_compile": True},
    "float16": {"precision": "float16"},
    "float16, XLA": {"precision": "float16", "jit_compile": True},
}
#: Those of a rehearsal on a CPU.
REHEARSED = ("float32", "float32, XLA")
