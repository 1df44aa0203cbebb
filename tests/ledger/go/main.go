// Verifies what vaultctl's ledger makes, by golang.org/x/mod/sumdb: another implementation, that nobody here wrote.
//
// Usage: verify DIR, where DIR has
//
//	key              the verifier key
//	old, checkpoint  two checkpoints of one log, the older one first
//	entries          the entries of the log, each behind its length in four bytes
//	tile/...         the tiles of the newer tree, as C2SP tlog-tiles names them
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type tiles struct{ dir string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		// C2SP leaves the height out of the path.
		data, err := os.ReadFile(filepath.Join(t.dir, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(path ...string) []byte {
	data, err := os.ReadFile(filepath.Join(path...))
	check(err)
	return data
}

func open(data []byte, key note.Verifier) tlog.Tree {
	opened, err := note.Open(data, note.VerifierList(key))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != key.Name() {
		check(fmt.Errorf("the origin is %q", lines[0]))
	}
	// A checkpoint is a tree of tlog but for the first line, which there is one text for all.
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + strings.Join(lines[1:], "\n")))
	check(err)
	return tree
}

func main() {
	dir := os.Args[1]
	key, err := note.NewVerifier(strings.TrimSpace(string(read(dir, "key"))))
	check(err)
	old, tree := open(read(dir, "old"), key), open(read(dir, "checkpoint"), key)

	hashes := tlog.TileHashReader(tree, tiles{dir})
	data := read(dir, "entries")
	var count int64
	for ; len(data) > 0; count++ {
		size := binary.BigEndian.Uint32(data)
		entry := data[4 : 4+size]
		data = data[4+size:]
		proof, err := tlog.ProveRecord(tree.N, count, hashes)
		check(err)
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, count, tlog.RecordHash(entry)))
	}
	if count != tree.N {
		check(fmt.Errorf("%d entries, and the tree has %d", count, tree.N))
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	check(err)
	check(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	fmt.Printf("%d entries, from %d on\n", tree.N, old.N)
}
