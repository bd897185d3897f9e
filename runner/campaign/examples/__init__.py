"""Campaign files that ship with the package: what `runner init` and `runner demo` start from."""
