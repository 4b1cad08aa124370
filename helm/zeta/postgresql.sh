# Starts PostgreSQL; makes the databases first where there are none. What is half made is made anew.
set -eu

# role URL: what makes the role and the database that a URL names, scheme://role:password@host/database?options
role() {
  url=${1%%\?*}
  login=${url#*://}
  login=${login%%@*}
  printf "create role \"%s\" login password '%s';\n" "${login%%:*}" "${login#*:}"
  printf 'create database "%s" owner "%s";\n' "${url##*/}" "${login%%:*}"
}

if [ ! -d "$PGDATA" ]; then
  new=$PGDATA.new
  rm -rf "$new"
  initdb -D "$new" -U postgres -E UTF8 --locale=C --auth-local=trust --auth-host=scram-sha-256 --no-instructions
  echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
  { role "$AIRFLOW_URL"; role "$MLFLOW_URL"; } | postgres --single -D "$new" -c exit_on_error=on postgres >/dev/null
  mv "$new" "$PGDATA"
fi
# A volume's group may have been given rights that PostgreSQL refuses to start with.
chmod 0700 "$PGDATA"
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
