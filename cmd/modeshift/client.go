package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/server"
)

// patience is how long a verb waits for the server.
const patience = 30 * time.Second

// dial makes a client of what --server and --token-file say.
func (c *cli) dial() (*api.Client, error) {
	path, asked := c.TokenFile, c.TokenFile != ""
	if !asked {
		path = filepath.Join(server.DefaultConfig().Data, server.AdminTokenFile)
	}
	token, err := secret.Read(path)
	if err != nil && asked {
		return nil, exit(exitUsage, "--token-file: %w", err)
	}
	client, err := api.NewClient(c.Server, token, nil)
	if err != nil {
		return nil, exit(exitUsage, "--server: %w", err)
	}
	return client, nil
}

// call runs f against the server and gives its error the exit code it calls for.
func (c *cli) call(f func(context.Context, *api.Client) error) error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.explain(f(ctx, client))
}

// explain says what to do about an error of the server.
func (c *cli) explain(err error) error {
	var e *api.Error
	var known *exitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, api.ErrNoServer), errors.Is(err, context.DeadlineExceeded):
		return exit(exitCannotTell, "%w; start one with modeshift run, or say where it is: --server URL or MODESHIFT_SERVER", err)
	case !errors.As(err, &e):
		return err
	}
	switch e.Code() {
	case api.CodeRole, api.CodeOwnRequest, api.CodeSamePerson: // understood, and the answer is no
		return &exitError{exitNo, err}
	}
	switch e.Status() {
	case http.StatusUnauthorized:
		return exit(exitUsage, "%w; say which token to use: --token-file FILE or MODESHIFT_TOKEN_FILE", err)
	case http.StatusForbidden, http.StatusNotFound, http.StatusBadRequest:
		return &exitError{exitUsage, err}
	case http.StatusConflict, http.StatusUnprocessableEntity:
		return &exitError{exitNo, err}
	}
	return &exitError{exitCannotTell, err}
}

// show prints v as JSON when asked to, else calls table.
func (c *cli) show(s *streams, v any, table func() error) error {
	if c.Output != "json" {
		return table()
	}
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
