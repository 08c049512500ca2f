package iritest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The length of a transaction, and of a hash.
const (
	transactionTrytes = 2673
	hashTrytes        = 81
)

// field is where a transaction has a value.
type field struct{ from, to int }

var (
	addressField = field{2187, 2268}
	bundleField  = field{2349, 2430}
	trunkField   = field{2430, 2511}
	branchField  = field{2511, 2592}
	tagField     = field{2592, 2619}
)

// criteria are the parameters of findTransactions, with the fields that they are compared with.
var criteria = []struct {
	key    string
	fields []field
}{
	{"addresses", []field{addressField}},
	{"bundles", []field{bundleField}},
	{"tags", []field{tagField}},
	{"approvees", []field{trunkField, branchField}},
}

func (f field) of(trytes string) string { return trytes[f.from:f.to] }

func (f field) set(trytes, value string) string { return trytes[:f.from] + value + trytes[f.to:] }

// find returns the hashes of the transactions that match one of the values of each criterion.
func (s State) find(wanted map[string][]string) []string {
	if len(s.Transactions) == 0 {
		return []string{someHash}
	}
	found := []string{}
	for hash, trytes := range s.Transactions {
		if matches(trytes, wanted) {
			found = append(found, hash)
		}
	}
	slices.Sort(found)
	return found
}

func matches(trytes string, wanted map[string][]string) bool {
	for _, criterion := range criteria {
		values, has := wanted[criterion.key]
		if has && !slices.ContainsFunc(criterion.fields, func(f field) bool { return slices.Contains(values, f.of(trytes)) }) {
			return false
		}
	}
	return true
}

// trytes returns a transaction. Like IRI it has an empty one for a hash that it does not know.
func (s State) trytes(hash string) string {
	if len(s.Transactions) == 0 {
		return someTrytes
	}
	return cmp.Or(s.Transactions[hash], strings.Repeat("9", transactionTrytes))
}

func (s State) balance(address string) string { return cmp.Or(s.Balances[address], "0") }

// attach does what a client can see of a proof of work: the transaction approves trunk and branch.
func attach(trytes, trunk, branch string) string {
	if len(trytes) != transactionTrytes || len(trunk) != hashTrytes || len(branch) != hashTrytes {
		return trytes
	}
	return branchField.set(trunkField.set(trytes, trunk), branch)
}

func (s State) validateLedger() error {
	for _, hash := range slices.Sorted(maps.Keys(s.Transactions)) {
		if trytes := s.Transactions[hash]; len(trytes) != transactionTrytes || !trytesOnly.MatchString(trytes) {
			return fmt.Errorf("transaction %q has %d characters, want %d trytes (9 and A to Z)", hash, len(trytes), transactionTrytes)
		}
	}
	return nil
}
