import type { MigrationInterface, QueryRunner } from 'typeorm'

// as typeorm migration:generate has written it

export class CreateReport1795277974872 implements MigrationInterface {
  name = 'CreateReport1795277974872'

  public async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
            CREATE TABLE "report" (
                "id" SERIAL NOT NULL,
                "title" text NOT NULL,
                "pages" integer NOT NULL,
                "problem" text,
                "document_file_name" character varying,
                "document_content_type" character varying,
                "document_file_size" bigint,
                "document_updated_at" TIMESTAMP(3),
                "document_fingerprint" character varying(64),
                "document_version" character varying(32),
                "document_processing" boolean NOT NULL DEFAULT false,
                "document_attempted_at" TIMESTAMP(3),
                "document_error" text,
                "document_meta" text,
                CONSTRAINT "PK_99e4d0bea58cba73c57f935a546" PRIMARY KEY ("id")
            )
        `)
    await queryRunner.query(`
            CREATE INDEX "IDX_3802a7e1302331be67b6450b61" ON "report" ("document_processing", "document_attempted_at")
        `)
    await queryRunner.query(`
            CREATE UNIQUE INDEX "IDX_535287895dbe2d6a614a0cc2dc" ON "report" ("document_version")
        `)
  }

  public async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
            DROP INDEX "public"."IDX_535287895dbe2d6a614a0cc2dc"
        `)
    await queryRunner.query(`
            DROP INDEX "public"."IDX_3802a7e1302331be67b6450b61"
        `)
    await queryRunner.query(`
            DROP TABLE "report"
        `)
  }
}
