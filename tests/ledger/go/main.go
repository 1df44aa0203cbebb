// Verifies an exported bundle by golang.org/x/mod/sumdb: another implementation, that nobody here wrote.
//
// Usage: verify BUNDLE OLD, where BUNDLE is what vaultctl audit export --bundle wrote, and OLD an earlier checkpoint.
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

// C2SP leaves the height out of the path, and calls what is below the hashes entries.
var named = strings.NewReplacer("tile/8/data/", "tile/entries/", "tile/8/", "tile/")

func (t tiles) read(tile tlog.Tile) ([]byte, error) {
	return os.ReadFile(filepath.Join(t.dir, named.Replace(tile.Path())))
}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		data, err := t.read(tile)
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
	key, err := note.NewVerifier(strings.TrimSpace(string(read(dir, "verifier-key"))))
	check(err)
	old, tree := open(read(os.Args[2]), key), open(read(dir, "checkpoint"), key)

	pieces := tiles{dir}
	hashes := tlog.TileHashReader(tree, pieces)
	var count int64
	for count < tree.N {
		width := min(tree.N-count, 256)
		data, err := pieces.read(tlog.Tile{H: 8, L: -1, N: count / 256, W: int(width)})
		check(err)
		for ; len(data) > 0; count++ {
			size := binary.BigEndian.Uint16(data)
			entry := data[2 : 2+size]
			data = data[2+size:]
			proof, err := tlog.ProveRecord(tree.N, count, hashes)
			check(err)
			check(tlog.CheckRecord(proof, tree.N, tree.Hash, count, tlog.RecordHash(entry)))
		}
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	check(err)
	check(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	fmt.Printf("%d entries, from %d on\n", tree.N, old.N)
}
