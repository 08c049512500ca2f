package iri

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFile, in bytes, is far more than a file of certificates or a password needs.
const maxFile = 4 << 20

// ReadRoots reads the trusted root certificates from a PEM file.
func ReadRoots(path string) (*x509.CertPool, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s contains no certificate (-----BEGIN CERTIFICATE-----)", path)
	}
	return roots, nil
}

// ReadCertificate reads a client certificate, with its intermediates, and its key from PEM files.
func ReadCertificate(cert, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s and key %s: %w", cert, key, err)
	}
	return &pair, nil
}

// ReadUser reads a file with the single line USER:PASSWORD. Errors never contain the content.
func ReadUser(path string) (user, password string, err error) {
	text, err := readFile(path)
	if err != nil {
		return "", "", err
	}
	line := bytes.TrimRight(text, "\r\n")
	before, after, found := bytes.Cut(line, []byte(":"))
	switch {
	case !found || len(before) == 0:
		return "", "", fmt.Errorf("%s does not have the form USER:PASSWORD", path)
	case bytes.ContainsAny(line, "\r\n\x00"):
		return "", "", fmt.Errorf("%s has more than one line; only USER:PASSWORD is allowed", path)
	}
	return string(before), string(after), nil
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, errors.New(path + " is larger than 4 MiB")
	}
	return text, nil
}
