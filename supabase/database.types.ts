// The schema `public` after all migrations, for supabase-js. Written by tests/database_types.rs.

export type Json =
  | string
  | number
  | boolean
  | null
  | { [key: string]: Json | undefined }
  | Json[];

export type EventRow = {
  agent_id: string | null;
  created_at: string | null;
  event_type: string | null;
  id: number | null;
  message_id: number | null;
  next_transaction: number | null;
  oldest_running: number | null;
  payload: Json | null;
  project_id: string | null;
  reason: string | null;
  role: string | null;
  service: string | null;
  shard: number | null;
  tenant: string | null;
  trace_id: string | null;
  writing: string[] | null;
};

export type MessageState = {
  attempts: number | null;
  cancel_requested: boolean | null;
  claimed_at: string | null;
  claimed_by: string | null;
  created_at: string | null;
  done_at: string | null;
  error: string | null;
  expires_at: string | null;
  id: number | null;
  idempotency_key: string | null;
  last_error_at: string | null;
  lease_until: string | null;
  max_attempts: number | null;
  next_transaction: number | null;
  oldest_running: number | null;
  ordering_key: string | null;
  parent_id: number | null;
  payload: Json | null;
  priority: number | null;
  project_id: string | null;
  read_at: string | null;
  replay_of: number | null;
  result_snippet: string | null;
  result_url: string | null;
  retry_at: string | null;
  role: string | null;
  service: string | null;
  shard: number | null;
  status: string | null;
  tenant: string | null;
  trace_id: string | null;
  traceparent: string | null;
};

export type Database = {
  public: {
    Tables: {
      agent_catalog: {
        Row: {
          active_release_id: string | null;
          agent_name: string;
          autodeploy_enabled: boolean;
          container: string;
          created_at: string;
          default_tag: string;
          deployment: string;
          failures: number;
          fence: number;
          held_by: string | null;
          held_until: string | null;
          id: string;
          kube_namespace: string;
          paused: boolean;
          paused_reason: string | null;
          pinned_release_id: string | null;
          pinned_tag: string | null;
          registry_account_id: string | null;
          repo: string;
          role: string | null;
          service: string | null;
          updated_at: string;
        };
        Insert: {
          active_release_id?: string | null;
          agent_name: string;
          autodeploy_enabled?: boolean;
          container?: string;
          created_at?: string;
          default_tag?: string;
          deployment: string;
          failures?: number;
          fence?: number;
          held_by?: string | null;
          held_until?: string | null;
          id?: string;
          kube_namespace?: string;
          paused?: boolean;
          paused_reason?: string | null;
          pinned_release_id?: string | null;
          pinned_tag?: string | null;
          registry_account_id?: string | null;
          repo: string;
          role?: string | null;
          service?: string | null;
          updated_at?: string;
        };
        Update: {
          active_release_id?: string | null;
          agent_name?: string;
          autodeploy_enabled?: boolean;
          container?: string;
          created_at?: string;
          default_tag?: string;
          deployment?: string;
          failures?: number;
          fence?: number;
          held_by?: string | null;
          held_until?: string | null;
          id?: string;
          kube_namespace?: string;
          paused?: boolean;
          paused_reason?: string | null;
          pinned_release_id?: string | null;
          pinned_tag?: string | null;
          registry_account_id?: string | null;
          repo?: string;
          role?: string | null;
          service?: string | null;
          updated_at?: string;
        };
        Relationships: [];
      };
      agent_messages_dlq: {
        Row: {
          attempts: number;
          created_at: string;
          error: string | null;
          id: number;
          orig_id: number;
          payload: Json;
          reason: string;
          replayed_as: number | null;
          role: string;
          service: string;
          shard: number;
          tenant: string;
          trace_id: string;
        };
        Insert: {
          attempts: number;
          created_at?: string;
          error?: string | null;
          id?: never;
          orig_id: number;
          payload: Json;
          reason: string;
          replayed_as?: number | null;
          role: string;
          service: string;
          shard: number;
          tenant: string;
          trace_id: string;
        };
        Update: {
          attempts?: number;
          created_at?: string;
          error?: string | null;
          id?: never;
          orig_id?: number;
          payload?: Json;
          reason?: string;
          replayed_as?: number | null;
          role?: string;
          service?: string;
          shard?: number;
          tenant?: string;
          trace_id?: string;
        };
        Relationships: [];
      };
      bus_events: {
        Row: {
          agent_id: string | null;
          created_at: string;
          event_type: string;
          id: number;
          message_id: number | null;
          payload: Json;
          project_id: string | null;
          reason: string | null;
          role: string | null;
          service: string | null;
          shard: number | null;
          tenant: string;
          trace_id: string;
        };
        Insert: {
          agent_id?: string | null;
          created_at?: string;
          event_type: string;
          id?: never;
          message_id?: number | null;
          payload?: Json;
          project_id?: string | null;
          reason?: string | null;
          role?: string | null;
          service?: string | null;
          shard?: number | null;
          tenant?: string;
          trace_id: string;
        };
        Update: {
          agent_id?: string | null;
          created_at?: string;
          event_type?: string;
          id?: never;
          message_id?: number | null;
          payload?: Json;
          project_id?: string | null;
          reason?: string | null;
          role?: string | null;
          service?: string | null;
          shard?: number | null;
          tenant?: string;
          trace_id?: string;
        };
        Relationships: [];
      };
      bus_routes: {
        Row: {
          allow_secrets: boolean;
          allowed_targets: string[] | null;
          backoff_base: string;
          backoff_cap: string;
          created_at: string;
          id: number;
          lease: string;
          max_attempts: number;
          max_in_flight: number | null;
          max_in_flight_per_tenant: number | null;
          max_payload: number;
          open_to: string[];
          paused: boolean;
          rate: number | null;
          rate_per_tenant: number | null;
          role: string;
          service: string;
          ttl: string | null;
        };
        Insert: {
          allow_secrets?: boolean;
          allowed_targets?: string[] | null;
          backoff_base?: string;
          backoff_cap?: string;
          created_at?: string;
          id?: never;
          lease?: string;
          max_attempts?: number;
          max_in_flight?: number | null;
          max_in_flight_per_tenant?: number | null;
          max_payload?: number;
          open_to?: string[];
          paused?: boolean;
          rate?: number | null;
          rate_per_tenant?: number | null;
          role: string;
          service: string;
          ttl?: string | null;
        };
        Update: {
          allow_secrets?: boolean;
          allowed_targets?: string[] | null;
          backoff_base?: string;
          backoff_cap?: string;
          created_at?: string;
          id?: never;
          lease?: string;
          max_attempts?: number;
          max_in_flight?: number | null;
          max_in_flight_per_tenant?: number | null;
          max_payload?: number;
          open_to?: string[];
          paused?: boolean;
          rate?: number | null;
          rate_per_tenant?: number | null;
          role?: string;
          service?: string;
          ttl?: string | null;
        };
        Relationships: [];
      };
      circuits: {
        Row: {
          created_at: string;
          failures: number;
          opened_at: string | null;
          probe_id: number | null;
          retry_at: string | null;
          state: string;
          target: string;
          updated_at: string;
        };
        Insert: {
          created_at?: string;
          failures?: number;
          opened_at?: string | null;
          probe_id?: number | null;
          retry_at?: string | null;
          state?: string;
          target: string;
          updated_at?: string;
        };
        Update: {
          created_at?: string;
          failures?: number;
          opened_at?: string | null;
          probe_id?: number | null;
          retry_at?: string | null;
          state?: string;
          target?: string;
          updated_at?: string;
        };
        Relationships: [];
      };
      execution_policies: {
        Row: {
          circuit_failures: number;
          circuit_open_for: string;
          created_at: string;
          description: string | null;
          id: number;
          max_cost_usd: number | null;
          max_tokens: number | null;
          max_ttl_ms: number | null;
          models: string[] | null;
          target: string;
        };
        Insert: {
          circuit_failures?: number;
          circuit_open_for?: string;
          created_at?: string;
          description?: string | null;
          id?: never;
          max_cost_usd?: number | null;
          max_tokens?: number | null;
          max_ttl_ms?: number | null;
          models?: string[] | null;
          target: string;
        };
        Update: {
          circuit_failures?: number;
          circuit_open_for?: string;
          created_at?: string;
          description?: string | null;
          id?: never;
          max_cost_usd?: number | null;
          max_tokens?: number | null;
          max_ttl_ms?: number | null;
          models?: string[] | null;
          target?: string;
        };
        Relationships: [];
      };
      executions: {
        Row: {
          agent_id: string | null;
          attempts: number;
          budget: Json;
          created_at: string;
          ended_at: string | null;
          expires_at: string;
          id: number;
          model: string | null;
          opening: string | null;
          reason: string | null;
          stage: string;
          state: string;
          target: string;
          target_id: number | null;
          tenant: string;
          trace_id: string;
        };
        Insert: {
          agent_id?: string | null;
          attempts?: number;
          budget: Json;
          created_at?: string;
          ended_at?: string | null;
          expires_at: string;
          id: number;
          model?: string | null;
          opening?: string | null;
          reason?: string | null;
          stage: string;
          state: string;
          target: string;
          target_id?: number | null;
          tenant: string;
          trace_id: string;
        };
        Update: {
          agent_id?: string | null;
          attempts?: number;
          budget?: Json;
          created_at?: string;
          ended_at?: string | null;
          expires_at?: string;
          id?: number;
          model?: string | null;
          opening?: string | null;
          reason?: string | null;
          stage?: string;
          state?: string;
          target?: string;
          target_id?: number | null;
          tenant?: string;
          trace_id?: string;
        };
        Relationships: [];
      };
      image_tag_history: {
        Row: {
          agent_id: string;
          built_at: string | null;
          built_by: string | null;
          canary: Json | null;
          changelog_url: string | null;
          created_at: string;
          deadline_at: string | null;
          digest: string | null;
          extended: boolean;
          failed_in: string | null;
          failure_code: string | null;
          failure_detail: string | null;
          finished_at: string | null;
          forced: boolean;
          generation: number | null;
          id: string;
          phase: string;
          previous_id: string | null;
          requested_at: string;
          restored_ms: number | null;
          rollback_of: string | null;
          rollout_status: string;
          seq: number;
          started_at: string | null;
          tag: string;
          template_hash: string | null;
          trace_id: string;
          verdict_ms: number | null;
          wanted: boolean;
        };
        Insert: {
          agent_id: string;
          built_at?: string | null;
          built_by?: string | null;
          canary?: Json | null;
          changelog_url?: string | null;
          created_at?: string;
          deadline_at?: string | null;
          digest?: string | null;
          extended?: boolean;
          failed_in?: string | null;
          failure_code?: string | null;
          failure_detail?: string | null;
          finished_at?: string | null;
          forced?: boolean;
          generation?: number | null;
          id?: string;
          phase?: string;
          previous_id?: string | null;
          requested_at?: string;
          restored_ms?: number | null;
          rollback_of?: string | null;
          rollout_status?: never;
          seq?: never;
          started_at?: string | null;
          tag: string;
          template_hash?: string | null;
          trace_id?: string;
          verdict_ms?: number | null;
          wanted?: boolean;
        };
        Update: {
          agent_id?: string;
          built_at?: string | null;
          built_by?: string | null;
          canary?: Json | null;
          changelog_url?: string | null;
          created_at?: string;
          deadline_at?: string | null;
          digest?: string | null;
          extended?: boolean;
          failed_in?: string | null;
          failure_code?: string | null;
          failure_detail?: string | null;
          finished_at?: string | null;
          forced?: boolean;
          generation?: number | null;
          id?: string;
          phase?: string;
          previous_id?: string | null;
          requested_at?: string;
          restored_ms?: number | null;
          rollback_of?: string | null;
          rollout_status?: never;
          seq?: never;
          started_at?: string | null;
          tag?: string;
          template_hash?: string | null;
          trace_id?: string;
          verdict_ms?: number | null;
          wanted?: boolean;
        };
        Relationships: [];
      };
      intents: {
        Row: {
          created_at: string;
          default_assignment: Json;
          description: string;
          enabled: boolean;
          name: string;
          payload_schema: Json;
          target: string;
          updated_at: string;
        };
        Insert: {
          created_at?: string;
          default_assignment?: Json;
          description?: string;
          enabled?: boolean;
          name: string;
          payload_schema?: Json;
          target: string;
          updated_at?: string;
        };
        Update: {
          created_at?: string;
          default_assignment?: Json;
          description?: string;
          enabled?: boolean;
          name?: string;
          payload_schema?: Json;
          target?: string;
          updated_at?: string;
        };
        Relationships: [];
      };
      k8s_pull_secret_links: {
        Row: {
          content_hash: string | null;
          created_at: string;
          failure_code: string | null;
          failure_detail: string | null;
          id: string;
          kube_namespace: string;
          last_synced_at: string | null;
          managed_by: string;
          refresh_at: string | null;
          registry_account_id: string;
          secret_name: string;
        };
        Insert: {
          content_hash?: string | null;
          created_at?: string;
          failure_code?: string | null;
          failure_detail?: string | null;
          id?: string;
          kube_namespace: string;
          last_synced_at?: string | null;
          managed_by?: string;
          refresh_at?: string | null;
          registry_account_id: string;
          secret_name: string;
        };
        Update: {
          content_hash?: string | null;
          created_at?: string;
          failure_code?: string | null;
          failure_detail?: string | null;
          id?: string;
          kube_namespace?: string;
          last_synced_at?: string | null;
          managed_by?: string;
          refresh_at?: string | null;
          registry_account_id?: string;
          secret_name?: string;
        };
        Relationships: [];
      };
      registry_accounts: {
        Row: {
          created_at: string;
          credential_ref: string | null;
          description: string;
          id: string;
          namespace: string;
          provider: string;
          read_only: boolean;
          registry_url: string;
        };
        Insert: {
          created_at?: string;
          credential_ref?: string | null;
          description?: string;
          id?: string;
          namespace: string;
          provider: string;
          read_only?: boolean;
          registry_url: string;
        };
        Update: {
          created_at?: string;
          credential_ref?: string | null;
          description?: string;
          id?: string;
          namespace?: string;
          provider?: string;
          read_only?: boolean;
          registry_url?: string;
        };
        Relationships: [];
      };
      workers: {
        Row: {
          agent_name: string;
          busy: number;
          created_at: string;
          digest: string | null;
          drain_requested: boolean;
          host: string | null;
          id: string;
          image: string | null;
          pod_uid: string | null;
          release_id: string | null;
          role: string | null;
          seen_at: string;
          service: string | null;
          shards: number[] | null;
          slots: number;
          started_at: string;
          state: string;
          tenant: string | null;
          version: string | null;
        };
        Insert: {
          agent_name: string;
          busy?: number;
          created_at?: string;
          digest?: string | null;
          drain_requested?: boolean;
          host?: string | null;
          id: string;
          image?: string | null;
          pod_uid?: string | null;
          release_id?: string | null;
          role?: string | null;
          seen_at?: string;
          service?: string | null;
          shards?: number[] | null;
          slots?: number;
          started_at?: string;
          state?: string;
          tenant?: string | null;
          version?: string | null;
        };
        Update: {
          agent_name?: string;
          busy?: number;
          created_at?: string;
          digest?: string | null;
          drain_requested?: boolean;
          host?: string | null;
          id?: string;
          image?: string | null;
          pod_uid?: string | null;
          release_id?: string | null;
          role?: string | null;
          seen_at?: string;
          service?: string | null;
          shards?: number[] | null;
          slots?: number;
          started_at?: string;
          state?: string;
          tenant?: string | null;
          version?: string | null;
        };
        Relationships: [];
      };
    };
    Views: {
      agent_messages: {
        Row: {
          attempts: number | null;
          cancel_requested: boolean | null;
          claimed_at: string | null;
          claimed_by: string | null;
          created_at: string | null;
          done_at: string | null;
          error: string | null;
          expires_at: string | null;
          id: number | null;
          idempotency_key: string | null;
          last_error_at: string | null;
          lease_until: string | null;
          max_attempts: number | null;
          ordering_key: string | null;
          parent_id: number | null;
          payload: Json | null;
          priority: number | null;
          project_id: string | null;
          replay_of: number | null;
          result_snippet: string | null;
          result_url: string | null;
          retry_at: string | null;
          role: string | null;
          service: string | null;
          shard: number | null;
          status: string | null;
          tenant: string | null;
          trace_id: string | null;
          traceparent: string | null;
        };
        Insert: {
          attempts?: never;
          cancel_requested?: never;
          claimed_at?: never;
          claimed_by?: never;
          created_at?: string | null;
          done_at?: never;
          error?: never;
          expires_at?: string | null;
          id?: number | null;
          idempotency_key?: string | null;
          last_error_at?: string | null;
          lease_until?: never;
          max_attempts?: number | null;
          ordering_key?: string | null;
          parent_id?: number | null;
          payload?: Json | null;
          priority?: number | null;
          project_id?: string | null;
          replay_of?: number | null;
          result_snippet?: never;
          result_url?: never;
          retry_at?: string | null;
          role?: string | null;
          service?: string | null;
          shard?: number | null;
          status?: never;
          tenant?: string | null;
          trace_id?: string | null;
          traceparent?: string | null;
        };
        Update: {
          attempts?: never;
          cancel_requested?: never;
          claimed_at?: never;
          claimed_by?: never;
          created_at?: string | null;
          done_at?: never;
          error?: never;
          expires_at?: string | null;
          id?: number | null;
          idempotency_key?: string | null;
          last_error_at?: string | null;
          lease_until?: never;
          max_attempts?: number | null;
          ordering_key?: string | null;
          parent_id?: number | null;
          payload?: Json | null;
          priority?: number | null;
          project_id?: string | null;
          replay_of?: number | null;
          result_snippet?: never;
          result_url?: never;
          retry_at?: string | null;
          role?: string | null;
          service?: string | null;
          shard?: number | null;
          status?: never;
          tenant?: string | null;
          trace_id?: string | null;
          traceparent?: string | null;
        };
        Relationships: [];
      };
    };
    Functions: {
      bus_activity: {
        Args: { p_window_ms: number };
        Returns: Json;
      };
      bus_beat: {
        Args: { p_worker: Json };
        Returns: boolean;
      };
      bus_caller: {
        Args: Record<PropertyKey, never>;
        Returns: Json;
      };
      bus_cancel: {
        Args: { p_id: number; p_reason?: string };
        Returns: string;
      };
      bus_cancel_trace: {
        Args: { p_trace_id: string; p_reason?: string };
        Returns: { cancelled: number; asked: number };
      };
      bus_claim: {
        Args: { p_worker: string; p_routes: string[]; p_limit?: number; p_lanes?: number[]; p_after?: number[] };
        Returns: { id: number; lease: string; lane: number; service: string; role: string; shard: number; tenant: string; project_id: string; trace_id: string; traceparent: string; parent_id: number; ordering_key: string; attempt: number; max_attempts: number; created_at: string; lease_until: string; lease_ms: number; payload: Json }[];
      };
      bus_claim_or_park: {
        Args: { p_worker: string; p_routes: string[]; p_limit: number; p_channel: string; p_ms: number; p_lanes?: number[]; p_after?: number[] };
        Returns: Json;
      };
      bus_dead_letters: {
        Args: { p_filter?: Json };
        Returns: Json;
      };
      bus_dead_sleepers: {
        Args: Record<PropertyKey, never>;
        Returns: { worker: string }[];
      };
      bus_depth: {
        Args: { p_recent: number };
        Returns: { service: string; role: string; shard: number; tenant: string; paused: boolean; ready: number; delayed: number; waiting: number; claimed: number; oldest_ready_s: number; done_last_hour: number; failed_last_hour: number; last_hour_is_partial: boolean }[];
      };
      bus_disk: {
        Args: Record<PropertyKey, never>;
        Returns: Json;
      };
      bus_done: {
        Args: { p_worker: string; p_ids: number[]; p_leases: string[]; p_event_types?: string[]; p_event_payloads?: Json[] };
        Returns: number[];
      };
      bus_drain: {
        Args: { p_worker: string };
        Returns: boolean;
      };
      bus_emit: {
        Args: { p_events: Json };
        Returns: number;
      };
      bus_event: {
        Args: { p_id: number };
        Returns: EventRow[];
      };
      bus_events_anchor: {
        Args: Record<PropertyKey, never>;
        Returns: { newest: number; writing: string[] };
      };
      bus_events_between: {
        Args: { p_after: number; p_upto: number; p_limit: number; p_tenant?: string; p_trace_id?: string };
        Returns: EventRow[];
      };
      bus_events_in_order: {
        Args: { p_after: number; p_limit: number; p_look: boolean };
        Returns: EventRow[];
      };
      bus_events_since: {
        Args: { p_after: number; p_skipped: number[]; p_limit: number };
        Returns: EventRow[];
      };
      bus_explain: {
        Args: { p_id: number };
        Returns: Json;
      };
      bus_fleet: {
        Args: Record<PropertyKey, never>;
        Returns: { id: string; agent_name: string; service: string; role: string; shards: number[]; tenant: string; host: string; version: string; image: string; digest: string; release_id: string; state: string; drain_requested: boolean; slots: number; busy: number; started_at: string; seen_at: string; silent_s: number }[];
      };
      bus_held: {
        Args: { p_worker: string; p_limit: number };
        Returns: MessageState[];
      };
      bus_is_open: {
        Args: { p_service: string; p_role: string; p_client: string };
        Returns: boolean;
      };
      bus_keeper: {
        Args: Record<PropertyKey, never>;
        Returns: { worker: string; silent_s: number }[];
      };
      bus_letter: {
        Args: { p_id: number };
        Returns: { orig_id: number; service: string; role: string; shard: number; tenant: string; trace_id: string; attempts: number; reason: string; error: string; created_at: string; replayed_as: number; payload: Json }[];
      };
      bus_letters: {
        Args: { p_service: string; p_role: string; p_reason: string; p_tenant: string; p_open_only: boolean; p_limit: number };
        Returns: { orig_id: number; service: string; role: string; shard: number; tenant: string; trace_id: string; attempts: number; reason: string; error: string; created_at: string; replayed_as: number; payload: Json }[];
      };
      bus_loose_roles: {
        Args: Record<PropertyKey, never>;
        Returns: { name: string; why: string }[];
      };
      bus_message: {
        Args: { p_id: number };
        Returns: MessageState[];
      };
      bus_messages_since: {
        Args: { p_after: number; p_skipped: number[]; p_limit: number };
        Returns: MessageState[];
      };
      bus_missing_roles: {
        Args: Record<PropertyKey, never>;
        Returns: { name: string }[];
      };
      bus_newest_event: {
        Args: Record<PropertyKey, never>;
        Returns: number;
      };
      bus_newest_message: {
        Args: Record<PropertyKey, never>;
        Returns: number;
      };
      bus_overview: {
        Args: Record<PropertyKey, never>;
        Returns: Json;
      };
      bus_park: {
        Args: { p_worker: string; p_channel: string; p_routes: string[]; p_ms: number };
        Returns: number;
      };
      bus_pause: {
        Args: { p_service: string; p_role: string; p_paused?: boolean };
        Returns: undefined;
      };
      bus_peek: {
        Args: { p_service: string; p_role: string; p_shard: number; p_tenant: string; p_limit: number };
        Returns: MessageState[];
      };
      bus_publish: {
        Args: { p_messages: Json };
        Returns: { place: number; id: number; trace_id: string; attached: boolean }[];
      };
      bus_publish_all: {
        Args: { p_messages: Json };
        Returns: Json;
      };
      bus_realtime: {
        Args: Record<PropertyKey, never>;
        Returns: { check_name: string; fine: boolean }[];
      };
      bus_renew: {
        Args: { p_worker: string; p_ids: number[]; p_leases: string[] };
        Returns: { id: number; lease_until: string; lease_ms: number; cancel_requested: boolean }[];
      };
      bus_replay: {
        Args: { p_id: number };
        Returns: number;
      };
      bus_retain: {
        Args: { p_worker: string; p_from?: Json; p_limit?: number; p_messages?: string; p_events?: string; p_workers?: string; p_dead_letters?: string; p_quiet?: string };
        Returns: Json;
      };
      bus_retry: {
        Args: { p_message_id: number };
        Returns: Json;
      };
      bus_ring: {
        Args: { p_worker: string; p_routes: string[] };
        Returns: undefined;
      };
      bus_ring_topic: {
        Args: { p_topic: string };
        Returns: undefined;
      };
      bus_schema: {
        Args: Record<PropertyKey, never>;
        Returns: string;
      };
      bus_server: {
        Args: Record<PropertyKey, never>;
        Returns: { version_number: number; version: string; login: string; clock: string; is_standby: boolean; autovacuum: boolean }[];
      };
      bus_settle: {
        Args: { p_worker: string; p_outcomes: Json };
        Returns: { id: number; accepted: boolean; state: string }[];
      };
      bus_snapshot_holders: {
        Args: { p_longer_ms: number };
        Returns: { who: string; held_for_s: number }[];
      };
      bus_standing: {
        Args: { p_service: string; p_role: string; p_shard: number; p_limit: number };
        Returns: MessageState[];
      };
      bus_states: {
        Args: { p_ids: number[] };
        Returns: MessageState[];
      };
      bus_sweep: {
        Args: { p_worker: string; p_limit?: number };
        Returns: Json;
      };
      bus_trace: {
        Args: { p_trace_id: string };
        Returns: Json;
      };
      bus_trace_at_rest: {
        Args: { p_trace_id: string };
        Returns: boolean;
      };
      bus_trace_events: {
        Args: { p_trace_id: string; p_after?: number; p_limit?: number };
        Returns: Json;
      };
      bus_trace_history: {
        Args: { p_trace_id: string; p_limit: number; p_tenant?: string };
        Returns: EventRow[];
      };
      bus_trace_known: {
        Args: { p_trace_id: string; p_tenant?: string };
        Returns: boolean;
      };
      bus_trace_messages: {
        Args: { p_trace_id: string; p_limit: number; p_tenant?: string };
        Returns: MessageState[];
      };
      bus_traces_over: {
        Args: { p_traces: string[]; p_tenants: string[] };
        Returns: { trace_id: string; tenant: string; last_event: number }[];
      };
      bus_unpark: {
        Args: { p_worker: string };
        Returns: undefined;
      };
      bus_unprotected_tables: {
        Args: Record<PropertyKey, never>;
        Returns: { name: string }[];
      };
      bus_unsafe_functions: {
        Args: Record<PropertyKey, never>;
        Returns: { name: string; why: string }[];
      };
      bus_watch: {
        Args: { p_trace_id: string; p_after?: number };
        Returns: Json;
      };
      bus_workers: {
        Args: Record<PropertyKey, never>;
        Returns: Json;
      };
      execution_follow: {
        Args: { p_limit?: number };
        Returns: Json;
      };
      execution_forward: {
        Args: { p_worker: string; p_id: number; p_lease: string; p_target: string; p_assignment: Json; p_default_budget: Json };
        Returns: { verdict: string; reason: string; target_id: number }[];
      };
      execution_retain: {
        Args: { p_keep: string; p_limit?: number };
        Returns: number;
      };
      intent_known: {
        Args: { p_name: string };
        Returns: { target: string; payload_schema: Json; default_assignment: Json; enabled: boolean; updated_at: string }[];
      };
      intent_names: {
        Args: Record<PropertyKey, never>;
        Returns: { name: string }[];
      };
      intent_publish: {
        Args: { p_message: Json; p_limit: number };
        Returns: { verdict: string; id: number; trace_id: string; attached: boolean }[];
      };
      intent_replay: {
        Args: { p_id: number; p_limit: number };
        Returns: { verdict: string; id: number }[];
      };
      intent_undecided: {
        Args: { p_most?: number };
        Returns: number;
      };
      pull_secret_failed: {
        Args: { p_link: string; p_code: string; p_detail: string; p_next_ms: number };
        Returns: boolean;
      };
      pull_secret_synced: {
        Args: { p_link: string; p_content_hash: string; p_next_ms: number };
        Returns: boolean;
      };
      pull_secrets_due: {
        Args: { p_limit?: number };
        Returns: Json;
      };
      registry_agents: {
        Args: { p_agent?: string };
        Returns: Json;
      };
      registry_explain: {
        Args: { p_release: string };
        Returns: Json;
      };
      registry_list_accounts: {
        Args: Record<PropertyKey, never>;
        Returns: Json;
      };
      registry_list_pull_secrets: {
        Args: Record<PropertyKey, never>;
        Returns: Json;
      };
      registry_pause: {
        Args: { p_agent: string; p_paused: boolean; p_reason?: string };
        Returns: boolean;
      };
      registry_promote: {
        Args: { p_agent: string; p_tag: string; p_force?: boolean; p_canary?: Json };
        Returns: { release_id: string; phase: string; trace_id: string }[];
      };
      registry_put_account: {
        Args: { p_account: Json };
        Returns: Database["public"]["Tables"]["registry_accounts"]["Row"][];
      };
      registry_put_agent: {
        Args: { p_agent: Json };
        Returns: Database["public"]["Tables"]["agent_catalog"]["Row"][];
      };
      registry_put_pull_secret: {
        Args: { p_account: string; p_kube_namespace: string; p_secret_name: string; p_managed_by?: string };
        Returns: string;
      };
      registry_record_tag: {
        Args: { p_agent: string; p_tag: string; p_digest?: string; p_built_by?: string; p_built_at?: string; p_changelog_url?: string; p_trace_id?: string; p_canary?: Json };
        Returns: { release_id: string; phase: string; trace_id: string; attached: boolean }[];
      };
      registry_releases: {
        Args: { p_agent?: string; p_limit?: number; p_release?: string };
        Returns: Json;
      };
      registry_rollback: {
        Args: { p_agent: string; p_to_tag?: string };
        Returns: { release_id: string; phase: string; trace_id: string }[];
      };
      rollout_advance: {
        Args: { p_release: string; p_fence: number; p_to: string; p_facts?: Json };
        Returns: { accepted: boolean; phase: string; why: string }[];
      };
      rollout_heartbeats: {
        Args: { p_releases: string[] };
        Returns: Json;
      };
      rollout_let_go: {
        Args: { p_holder: string };
        Returns: number;
      };
      rollout_outcomes: {
        Args: { p_releases: string[]; p_since_ms: number; p_newest?: number };
        Returns: Json;
      };
      rollout_pulse: {
        Args: { p_except: string[]; p_recent_ms: number; p_silent_ms: number };
        Returns: { workers: number; silent: number }[];
      };
      rollout_take: {
        Args: { p_holder: string; p_hold_ms?: number };
        Returns: Json;
      };
    };
    Enums: { [_ in never]: never };
    CompositeTypes: { [_ in never]: never };
  };
};
