// Package certificate loads the TLS certificate that HAProxy presents to clients, with its chain and key, from PEM
// files, and refuses what HAProxy could not serve.
//
// It decides whether a certificate and a key are usable; it does not know HAProxy's runtime API.
package certificate

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// minRSABits is the minimum that OpenSSL's default security level requires of every key in the chain. With a smaller
// one HAProxy does not start ("key too small").
const minRSABits = 2048

// keyTypes are the PEM types of unencrypted keys.
var keyTypes = []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"}

// Pair is a certificate with its chain and key, as verified by [Load].
type Pair struct {
	leaf *x509.Certificate
	text string
}

// Leaf is the first certificate of the chain.
func (p Pair) Leaf() *x509.Certificate { return p.leaf }

// PEM is the chain followed by the key, re-encoded: PEM blocks only, without comments and empty lines. It is a secret.
func (p Pair) PEM() string { return p.text }

// String is the subject of the certificate, which keeps the key out of logs.
func (p Pair) String() string {
	if p.leaf == nil {
		return "no certificate"
	}
	return p.leaf.Subject.String()
}

// GoString does the same for %#v.
func (p Pair) GoString() string { return p.String() }

// Load reads the certificate and the key, which may be in the same file, and verifies that they match, that the
// certificate is valid at the time now, and that its chain is strong enough for HAProxy. Errors name the file.
func Load(certFile, keyFile string, now time.Time) (Pair, error) {
	chain, err := readChain(certFile)
	if err != nil {
		return Pair{}, fmt.Errorf("certificate %s: %w", certFile, err)
	}
	if err := checkTime(chain[0], now); err != nil {
		return Pair{}, fmt.Errorf("certificate %s: %w", certFile, err)
	}
	key, public, err := readKey(keyFile)
	if err != nil {
		return Pair{}, fmt.Errorf("key %s: %w", keyFile, err)
	}
	if !public.Equal(chain[0].PublicKey) {
		return Pair{}, fmt.Errorf("key %s: does not belong to the first certificate in %s (%s)", keyFile, certFile, chain[0].Subject)
	}
	var text strings.Builder
	for _, cert := range chain {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	text.Write(pem.EncodeToMemory(key))
	return Pair{chain[0], text.String()}, nil
}

// readChain returns at least one certificate. It skips other blocks, since the file may also contain the key.
func readChain(path string) ([]*x509.Certificate, error) {
	blocks, err := readBlocks(path)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err == nil {
			err = checkStrength(cert)
		}
		if err != nil {
			return nil, fmt.Errorf("certificate number %d in it: %w", len(chain)+1, err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errors.New("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	return chain, nil
}

// checkStrength refuses what OpenSSL's default security level refuses in HAProxy.
func checkStrength(cert *x509.Certificate) error {
	if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSABits {
		return fmt.Errorf("its RSA key has %d bits; HAProxy requires at least %d", key.N.BitLen(), minRSABits)
	}
	selfSigned := bytes.Equal(cert.RawSubject, cert.RawIssuer) // then the signature is not verified
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		if !selfSigned {
			return fmt.Errorf("it is signed with %s, which HAProxy refuses", cert.SignatureAlgorithm)
		}
	}
	return nil
}

func checkTime(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(cert.NotBefore):
		return fmt.Errorf("is not valid before %s; the time now is %s", stamp(cert.NotBefore), stamp(now))
	case now.After(cert.NotAfter):
		return fmt.Errorf("has expired at %s; the time now is %s", stamp(cert.NotAfter), stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

type publicKey interface {
	Equal(x crypto.PublicKey) bool
}

// readKey returns the first key of the file, without PEM headers, and its public key.
func readKey(path string) (*pem.Block, publicKey, error) {
	blocks, err := readBlocks(path)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range blocks {
		if b.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, nil, errors.New("is encrypted, but HAProxy cannot prompt for a passphrase; remove it with: openssl pkey -in OLD -out NEW")
		}
		if !slices.Contains(keyTypes, b.Type) {
			continue
		}
		public, err := parseKey(b)
		if err != nil {
			return nil, nil, err
		}
		return &pem.Block{Type: b.Type, Bytes: b.Bytes}, public, nil
	}
	return nil, nil, errors.New("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
}

func parseKey(b *pem.Block) (publicKey, error) {
	var key any
	var err error
	switch b.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(b.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	if err != nil {
		return nil, err
	}
	if signer, ok := key.(crypto.Signer); ok {
		if public, ok := signer.Public().(publicKey); ok {
			return public, nil
		}
	}
	return nil, fmt.Errorf("keys of type %T cannot sign", key)
}

func readBlocks(path string) ([]*pem.Block, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		var at *os.PathError
		if errors.As(err, &at) {
			err = at.Err // the caller names the file
		}
		return nil, err
	}
	var blocks []*pem.Block
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return blocks, nil
		}
		blocks = append(blocks, b)
	}
}
