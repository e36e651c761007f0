// Checks what Portcullis wrote with golang.org/x/mod/sumdb, which shares no code with it.
//
//	verify log <folder> <vkey>                     checkpoint, records, tiles and proofs of a log
//	verify growth <old root> <request> <vkey>      the body of an add-checkpoint request
//	verify cosigned <note> <witness vkey>          a cosignature; prints its time
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	said, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "rejected:", err)
		os.Exit(1)
	}
	fmt.Println(said)
}

func run(args []string) (string, error) {
	switch {
	case len(args) == 3 && args[0] == "log":
		return checkLog(args[1], args[2])
	case len(args) == 4 && args[0] == "growth":
		return checkGrowth(args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "cosigned":
		return checkCosigned(args[1], args[2])
	}
	return "", errors.New("usage: verify log|growth|cosigned ...")
}

// openCheckpoint verifies the note under the log's key and reads its three lines.
func openCheckpoint(msg []byte, vkey string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(msg, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("the head of another log: %q", origin)
	}
	// x/mod knows one origin only; the two lines that follow are the same.
	return tlog.ParseTree([]byte("go.sum database tree\n" + rest))
}

func checkLog(folder, vkey string) (string, error) {
	msg, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return "", err
	}
	tree, err := openCheckpoint(msg, vkey)
	if err != nil {
		return "", err
	}
	hashes, err := hashRecords(folder, tree.N)
	if err != nil {
		return "", err
	}
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return "", err
	}
	if root != tree.Hash {
		return "", errors.New("the records do not give the signed root")
	}
	if err := checkTiles(folder, tree.N, hashes); err != nil {
		return "", err
	}
	proofs, err := checkProofs(folder, tree, vkey, hashes)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d records and %d proofs under %v", tree.N, proofs, root), nil
}

// stored are the hashes of a tree at their storage indexes.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(s)) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		hashes = append(hashes, s[index])
	}
	return hashes, nil
}

// hashRecords reads the entry bundles; x/mod has none, but their names are those of its tiles.
func hashRecords(folder string, size int64) (stored, error) {
	var hashes stored
	for n := int64(0); n<<height < size; n++ {
		width := size - n<<height
		if width > 1<<height {
			width = 1 << height
		}
		name := tlog.Tile{H: height, L: -1, N: n, W: int(width)}.Path()
		name = "tile/entries/" + strings.TrimPrefix(name, "tile/8/data/")
		bundle, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return nil, err
		}
		for i := int64(0); i < width; i++ {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return nil, fmt.Errorf("%s ends within a record", name)
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			more, err := tlog.StoredHashes(n<<height+i, bundle[2:end], hashes)
			if err != nil {
				return nil, err
			}
			hashes, bundle = append(hashes, more...), bundle[end:]
		}
		if len(bundle) > 0 {
			return nil, fmt.Errorf("%s has more records than it may", name)
		}
	}
	return hashes, nil
}

func checkTiles(folder string, size int64, hashes stored) error {
	for _, tile := range tlog.NewTiles(height, 0, size) {
		// Older versions of x/mod also list every narrower tile of the right edge.
		if tile.W < 1<<height && int64(tile.W) < size>>(height*tile.L)-tile.N<<height {
			continue
		}
		name := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		found, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		want, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			return err
		}
		if !bytes.Equal(found, want) {
			return fmt.Errorf("%s is not what the records give", name)
		}
	}
	return nil
}

// checkProofs checks every .tlog-proof in proofs/ against the record that it is for.
func checkProofs(folder string, tree tlog.Tree, vkey string, hashes stored) (int, error) {
	files, err := filepath.Glob(filepath.Join(folder, "proofs", "*.tlog-proof"))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		head, checkpoint, _ := strings.Cut(string(text), "\n\n")
		lines := strings.Split(head, "\n")
		if len(lines) > 1 && strings.HasPrefix(lines[1], "extra ") {
			// Whatever it carries, nothing vouches for it.
			lines = append(lines[:1], lines[2:]...)
		}
		if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
			return 0, fmt.Errorf("%s is not a proof", file)
		}
		index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
		if err != nil {
			return 0, err
		}
		proof, err := parseHashes(lines[2:])
		if err != nil {
			return 0, err
		}
		proved, err := openCheckpoint([]byte(checkpoint), vkey)
		if err != nil {
			return 0, err
		}
		leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckRecord(proof, proved.N, proved.Hash, index, leaf[0]); err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
	}
	return len(files), nil
}

func parseHashes(lines []string) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

func checkGrowth(oldRoot, request, vkey string) (string, error) {
	body, err := os.ReadFile(request)
	if err != nil {
		return "", err
	}
	head, checkpoint, _ := strings.Cut(string(body), "\n\n")
	lines := strings.Split(head, "\n")
	old, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if err != nil {
		return "", err
	}
	proof, err := parseHashes(lines[1:])
	if err != nil {
		return "", err
	}
	root, err := tlog.ParseHash(oldRoot)
	if err != nil {
		return "", err
	}
	tree, err := openCheckpoint([]byte(checkpoint), vkey)
	if err != nil {
		return "", err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old, root); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d begins with %d", tree.N, old), nil
}

// cosigner verifies cosignature/v1, written from c2sp.org/tlog-cosignature.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
	time *uint64
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }

func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	*c.time = binary.BigEndian.Uint64(sig)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", *c.time, msg)
	return ed25519.Verify(c.key, []byte(signed), sig[8:])
}

func checkCosigned(file, vkey string) (string, error) {
	msg, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return "", errors.New("not a verifier key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return "", errors.New("not a key of type 4")
	}
	sum := sha256.Sum256([]byte(parts[0] + "\n" + string(key)))
	if hex.EncodeToString(sum[:4]) != parts[1] {
		return "", errors.New("the key id does not fit")
	}
	witness := cosigner{parts[0], binary.BigEndian.Uint32(sum[:4]), key[1:], new(uint64)}
	if _, err := note.Open(msg, note.VerifierList(witness)); err != nil {
		return "", err
	}
	return fmt.Sprintf("cosigned at %d", *witness.time), nil
}
