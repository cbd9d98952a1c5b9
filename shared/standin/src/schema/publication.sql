create publication supabase_realtime;
comment on publication supabase_realtime is 'Stand-in: the tables whose changes clients may subscribe to.';
