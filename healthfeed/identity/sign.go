package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// A Signature says who wrote something, to those who have it from somebody else. It
// carries the certificates, so whoever knows the authorities can verify it.
type Signature struct {
	Chain [][]byte `json:"chain"` // DER, the writer's own first
	Value []byte   `json:"sig"`
}

// maxChain is the size of a chain in bytes. One of two certificates has about 1 kB.
const maxChain = 32 << 10

// signed is what is signed: what the data are for, so that a signature is good for
// nothing else, and their hash.
func signed(purpose string, data []byte) []byte {
	sum := sha256.Sum256(data)
	return append([]byte("tandem "+purpose+"\x00"), sum[:]...)
}

// Sign signs data with the key of the certificate in use.
func (f *Files) Sign(purpose string, data []byte) (Signature, error) {
	own := f.get()
	message, opts := signed(purpose, data), crypto.SignerOpts(crypto.SHA256)
	switch own.svid.PrivateKey.Public().(type) {
	case ed25519.PublicKey:
		opts = crypto.Hash(0)
	case *rsa.PublicKey:
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	if opts.HashFunc() != 0 {
		sum := sha256.Sum256(message)
		message = sum[:]
	}
	value, err := own.svid.PrivateKey.Sign(rand.Reader, message, opts)
	return Signature{own.cert.Certificate, value}, err
}

// Verify returns who signed data. Their certificate must be valid now, by the
// authorities, and of the own trust domain, as that of a peer must.
func (f *Files) Verify(purpose string, data []byte, s Signature) (Peer, error) {
	size := 0
	chain := make([]*x509.Certificate, len(s.Chain))
	for i, der := range s.Chain {
		if size += len(der); size > maxChain {
			return Peer{}, fmt.Errorf("the certificates of a signature are larger than %d bytes", maxChain)
		}
		var err error
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return Peer{}, err
		}
	}
	id, _, err := x509svid.Verify(chain, f.get().bundle)
	if err != nil {
		return Peer{}, err
	}
	var algorithm x509.SignatureAlgorithm
	switch chain[0].PublicKey.(type) {
	case *ecdsa.PublicKey:
		algorithm = x509.ECDSAWithSHA256
	case ed25519.PublicKey:
		algorithm = x509.PureEd25519
	case *rsa.PublicKey:
		algorithm = x509.SHA256WithRSAPSS
	default:
		return Peer{}, errors.New("a key of this kind signs nothing")
	}
	if err := chain[0].CheckSignature(algorithm, signed(purpose, data), s.Value); err != nil {
		return Peer{}, fmt.Errorf("%s has not written this: %w", id, err)
	}
	return peer(id), nil
}
