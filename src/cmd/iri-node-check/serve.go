package main

import (
	"context"
	"io"
)

func runServe(context.Context, []string, io.Writer, io.Writer) int { return exitFailed }
