package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fescue-edge/fescue/cloud/backup"
	"github.com/fescue-edge/fescue/pki"
)

type backupCommand struct {
	databaseFlag
	File             string `arg:"" type:"path" help:"File to write."`
	Data             string `required:"" type:"existingdir" env:"FESCUE_DATA" help:"The server's data folder."`
	Artifacts        string `type:"existingdir" help:"Folder of artifacts, where the server has one outside of the data folder."`
	WithoutArtifacts bool   `help:"Leave the artifacts out, where they lie in a store that has its own backup."`
	Overwrite        bool   `help:"Replace FILE, when the new backup is complete, if it is there already."`
	IncludeMasterKey bool   `help:"Put the master key and access-key.json into the file: whoever has it then has every secret."`
}

// Help implements kong.HelpProvider.
func (backupCommand) Help() string {
	return `Writes the database as it is at one instant, the artifacts, and every key in its
wrapped form. A server may run on the folder and deploy all the while. Messages that
wait for MQTT sessions are not in it.

The master key also authenticates the file: a restore refuses one that somebody else
made or changed. Without --include-master-key the file opens no secret, and a restore needs the master
key (master.key of the data folder, or FESCUE_MASTER_KEY_FILE) from elsewhere: keep
a copy of it apart from the backups.

Examples:
  fescue backup /backup/fescue.tar --data /var/lib/fescue
  fescue backup /backup/latest.tar --data /var/lib/fescue --overwrite
  fescue backup /backup/whole.tar --data /var/lib/fescue --include-master-key`
}

// Run makes the backup and says what is in it.
func (c *backupCommand) Run(ctx context.Context, t *terminal) error {
	if c.Database != "" {
		return errors.New("the state is in PostgreSQL: back it up with pg_dump, then the folder of artifacts (--artifacts of the servers) with what backs up your files, in this order, " +
			"so that everything that the dump names is there; and keep a copy of the master key. To restore, load the dump and put both back")
	}
	if err := mayWrite(c.File, c.Overwrite); err != nil {
		return err
	}
	secrets, err := c.secrets()
	if err != nil {
		return err
	}
	key, err := pki.LoadMasterKey(masterKeyFile(c.Data), false)
	if err != nil {
		return fmt.Errorf("%w; a backup is authenticated by it", err)
	}
	table, err := backup.Create(ctx, backup.Source{
		Dir: c.Data, MasterKey: key, Artifacts: c.Artifacts, WithoutArtifacts: c.WithoutArtifacts, Secrets: secrets, Now: time.Now, Progress: progress(t.stderr, "backed up"),
	}, c.File)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "backup      %s\nfiles       %d, %s\nmaster key  %s\n", c.File, len(table.Files), size(table.Bytes()), table.MasterKeyID)
	if !table.Holds(backup.MasterKey) {
		fmt.Fprintln(t.stdout, "\nThe master key is not in it: keep a copy of the key elsewhere.")
	}
	return nil
}

// secrets are the files that stay out of a backup unless they are wanted.
func (c *backupCommand) secrets() (map[string]string, error) {
	if !c.IncludeMasterKey {
		return nil, nil
	}
	secrets := map[string]string{backup.MasterKey: masterKeyFile(c.Data)}
	accessKey := filepath.Join(c.Data, backup.AccessKey)
	_, err := os.Stat(accessKey)
	switch {
	case err == nil:
		secrets[backup.AccessKey] = accessKey
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	return secrets, nil
}

func masterKeyFile(data string) string {
	if file := os.Getenv("FESCUE_MASTER_KEY_FILE"); file != "" {
		return file
	}
	return filepath.Join(data, backup.MasterKey)
}

// mayWrite refuses to replace what is there unless that is wanted.
func mayWrite(file string, overwrite bool) error {
	if _, err := os.Lstat(file); err != nil || overwrite {
		return nil // writing reports what else is wrong with it
	}
	return fmt.Errorf("%s is there already: choose another name, or give --overwrite", file)
}

type restoreCommand struct {
	File             string `arg:"" type:"existingfile" help:"The backup."`
	Data             string `required:"" type:"path" env:"FESCUE_DATA" help:"Data folder to restore into: empty or absent, or one in which a restore was cut short."`
	MasterKey        string `type:"existingfile" xor:"key" help:"File of the master key, for a backup that does not have it; it is copied into the data folder. Default: FESCUE_MASTER_KEY_FILE, which is left where it is."`
	WithoutMasterKey bool   `xor:"key" help:"Restore without the master key. No server starts on the folder until the key is put there, and nothing proves that the backup is the server's own."`
	Unauthenticated  bool   `help:"Restore a backup of an early version, which nothing proves to be the server's own. Whoever could write to it may have made themselves an admin."`
}

// Help implements kong.HelpProvider.
func (restoreCommand) Help() string {
	return `Lays a backup out in an empty folder and checks every byte of it. Start a server on
the folder then: cores go on with it, also those that have been deployed to since
the backup was made. A backup that does not have its master key is refused before
anything is written, unless the key is given.

Examples:
  fescue restore /backup/fescue.tar --data /var/lib/fescue --master-key /safe/master.key
  fescue restore /backup/whole.tar --data /var/lib/fescue`
}

// Run restores and says what is to be done next.
func (c *restoreCommand) Run(ctx context.Context, t *terminal) error {
	table, err := backup.Restore(ctx, c.File, c.Data, c.accept, progress(t.stderr, "restored"))
	if errors.Is(err, backup.ErrUnauthenticated) {
		return fmt.Errorf("%w. Restore it with --unauthenticated only if you know that nobody else could write to it", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "restored    %s, as of %s\nfiles       %d, %s\n", c.Data, table.CreatedAt.Format(time.RFC3339), len(table.Files), size(table.Bytes()))
	if c.WithoutMasterKey && !table.Holds(backup.MasterKey) {
		fmt.Fprintf(t.stdout, "\nNext: put the master key %s into %s (mode 0600). Without it no server starts on the folder.\n",
			table.MasterKeyID, masterKeyFile(c.Data))
		return nil
	}
	fmt.Fprintf(t.stdout, "\nNext: start a server with the flags that it had before\n  fescue server --data %s\n", c.Data)
	return nil
}

// accept finds the master key of a backup and gives it to be written with it, or
// says what is missing.
func (c *restoreCommand) accept(table backup.Table) (backup.Terms, error) {
	terms := backup.Terms{Unauthenticated: c.Unauthenticated}
	file := c.MasterKey
	if file == "" {
		if c.WithoutMasterKey {
			terms.Unauthenticated = true
			return terms, nil
		}
		if file = os.Getenv("FESCUE_MASTER_KEY_FILE"); file == "" {
			if table.Holds(backup.MasterKey) {
				return terms, nil
			}
			return terms, fmt.Errorf("the master key %s is not in it: give its file with --master-key (a copy of master.key of the server that made the backup), "+
				"or --without-master-key to put it there later; nothing was written", table.MasterKeyID)
		}
	}
	var err error
	if terms.MasterKey, err = pki.LoadMasterKey(file, false); err != nil {
		return terms, err
	}
	if terms.MasterKey.ID() != table.MasterKeyID {
		return terms, fmt.Errorf("the key in %s is %s, another one than the backup's %s; nothing was written", file, terms.MasterKey.ID(), table.MasterKeyID)
	}
	if c.MasterKey == "" || table.Holds(backup.MasterKey) {
		return terms, nil
	}
	text, err := os.ReadFile(file)
	terms.Beside = map[string][]byte{backup.MasterKey: text}
	return terms, err
}

// progress prints every few seconds how far long work has come.
func progress(w io.Writer, what string) backup.Progress {
	const interval = 2 * time.Second
	last := time.Now()
	return func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= interval {
			last = now
			fmt.Fprintf(w, "%s %s of %s\n", what, size(done), size(total))
		}
	}
}

// size is a number of bytes in words.
func size(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
